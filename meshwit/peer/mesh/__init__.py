"""One peer in its mesh: finds the others, keeps in touch, tells what is known."""
