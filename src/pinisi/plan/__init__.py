"""Plans which way of running a model on a machine is best. Nothing here starts a process.

Reading order: source, candidates, planner, show, command.
"""
