"""Jobs that outlive their leaders, in virtual time: who leads, stands by and works, under faults, and what must hold.

The cores are those of the product: `Gossip`, `Link` and its handshakes, `Succession`, `History`, `LogWriter`,
`JobLeader` and `TaskHost`, bound as its shells bind them. What is simulated: the network, disks, clocks and worker
pools.
"""
