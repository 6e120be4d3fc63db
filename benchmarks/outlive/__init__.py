"""What it costs that jobs outlive their leader, and what it takes until another one leads."""
