"""What is learned: the methods, what each is given, and the one loop that trains them all.

Its modules, in the order of imports, which may import from the rooms study, dynamics and data::

    progress compilation discrepancies budget draws source segments needs methods batches mending checkpoint devices
    optimizer descent phases loop smoothing cells together cost landscape
"""
