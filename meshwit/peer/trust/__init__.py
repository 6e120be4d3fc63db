"""Who belongs to a mesh and how one comes to belong: keys, certificates, expulsions, the ways of joining, the files."""
