"""What this device is and can do: probes, scores, capabilities."""
