"""Working for leaders: what leaders and working peers say to each other, and how a peer shares its slots out."""
