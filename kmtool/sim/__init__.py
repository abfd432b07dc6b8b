"""The simulator: whole lives of a shop, played from one seed, with everything that can go wrong.

The real operations work on the real store; the clock, the disk's caches, the channels, their buyers
and the operator are played. What a buyer holds is kept in `world`, never in the shop's database.

    world      the truth outside: orders, buyers, what they received, what the owner decided
    edges      every point at which something may go wrong, and what goes wrong there
    machine    a process of the simulated shop: its connection, journal and workers
    channel    the ports, played: channels and couriers (this module) and suppliers
    stage      one life: clock, folder, processes, counts, trace
    buyers     what happens outside by itself
    acts       what the operator does
    driver     a seed, its script, the end without faults
    verdict    what must be true
    shrink     the shortest script that still fails
    runner     many seeds side by side, and the figures of `kmtool selftest`
"""
