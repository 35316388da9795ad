"""What is shown: tables and figures of a study, from its files.

Its modules, in the order of imports, which may import from the rooms study, dynamics and evaluation::

    tables figures
"""
