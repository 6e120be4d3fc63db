"""Membership by SWIM with Lifeguard's health awareness; signed records ride on it."""
