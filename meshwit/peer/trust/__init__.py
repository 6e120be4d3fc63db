"""Who belongs: keys, certificates, invites, codes, expulsions."""
