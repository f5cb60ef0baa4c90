"""
The pages of traces: a list that is filtered by its address, and one trace with its steps.
"""
