"""The paper's own numbers, to stand beside ours.

Source: Table 1 of the conference text: success in per cent after 50,000 steps,
and safety violations during those steps, for Task 1 to Task 6. The tasks are
the paper's own, not this project's.
"""

TABLE1_SUCCESS = {
    'sac': (0.0, 0.0, 0.0, 0.0, 0.0, 2.3),
    'parrot': (0.0, 12.8, 25.7, 16.1, 33.9, 6.3),
    'context_parrot': (5.0, 24.2, 27.0, 0.7, 7.3, 12.0),
    'prior_explore': (1.8, 1.5, 3.0, 1.8, 1.1, 1.0),
    'safer': (21.0, 87.4, 89.3, 28.1, 54.4, 83.3),
}
TABLE1_VIOLATIONS = {
    'sac': (2045, 876, 1055, 2736, 2188, 756),
    'parrot': (6332, 307, 13, 541, 2414, 932),
    'context_parrot': (5929, 1576, 1039, 5056, 2796, 2085),
    'prior_explore': (6203, 2240, 2867, 4525, 4669, 2596),
    'safer': (610, 51, 10, 455, 1707, 7),
}
