"""What is shown: tables and figures of a study, from its files; and what it will cost, before there are any.

Its modules, in the order of imports, which may import from the rooms study, dynamics and evaluation, and the estimate
from all::

    tables figures unfinished records pace estimate
"""
