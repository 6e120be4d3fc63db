"""Jobs that outlive their leaders, in virtual time: who leads, stands by and works, under faults, and what must hold.

The cores are those of the product: `Succession`, `History`, `LogWriter`, `JobLeader` and `TaskHost`, bound as its
shells bind them. What is simulated: links, disks, clocks and worker pools.
"""
