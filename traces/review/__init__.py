"""
The review queue: runs that people read one by one and rate, under keys and a rubric that staff
chose.
"""
