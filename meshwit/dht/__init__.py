"""The directory: signed records looked up by key, over Kademlia."""
