"""Tables of what is asked otherwise than as one label of a plain list: levels in order.

Like the tables beside this folder, and listed with them. A report of another task shows none of these.
"""
