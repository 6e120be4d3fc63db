"""Jobs seen from a peer that does not lead them: listed, followed, steered, their outcome fetched."""
