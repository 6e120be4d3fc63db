"""The .wit language: source -> tokens -> tree -> checked program -> interpreter.

Pure: no I/O, no clock. It knows activities and types only as the `Offer` it is given.
"""
