"""Metrics over the tree: sums over images, exact under any split into batches and processes.

Shapes: B images, C classes, L depths, N classes of one depth. A counter is updated with batches,
merged with the counters of other processes, and computed into a frozen dataclass. No update waits
for the device, and none loops over images; the exact average precision alone differs, see there.
"""

REPORT_VERSION = 5
"""Of `hypernym.report`, which holds all of them: `commands.evaluate` writes it, others read it."""
