"""The primitive types of the language: numbers, text, times, colours, tuples, arrays, options."""

from meshwit.plugins.variables.controller import Variables
from meshwit.plugins.variables.options import ProcessingOptions
from meshwit.plugins.variables.simple import Color

__all__ = ["Color", "ProcessingOptions", "Variables"]
