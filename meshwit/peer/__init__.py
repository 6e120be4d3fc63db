"""What one participant of the mesh is made of."""
