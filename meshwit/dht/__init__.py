"""The directory: what is looked up by key in a mesh too wide to gossip about, over Kademlia.

Where a peer is, who leads a job, who offers a capability. The package `kademlia` is subclassed and put right; see
`directory` for what it offers and `protocol`, `routing`, `calls`, `crawl` and `handover` for what is corrected.
"""
