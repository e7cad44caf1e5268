#!/usr/bin/env bash
# CIFAR-100: bash runs/cifar100.sh SOURCE DATASET [MODEL OUT]
#
# Files      cs.toronto.edu/~kriz/cifar.html: cifar-100-binary.tar.gz is SOURCE, not unpacked. (The python
#            version is pickled, and is refused.)
# Terms      none stated; the page asks to cite its report
# Classes    100; 50,000 train images, 10,000 test
# Metric     top-1 on the test split
# Published  ViT-B/16 94.2, Mixer-B/16 92.3 (from official 21K weights: 92.7, 85.5)
set -euo pipefail
hypernym prepare "$1" "$2" --size 32 --quality 100 --val-per-class 10 --duplicates ignore
hypernym tree build "$2" --taxonomy "$(dirname "$0")/../docs/examples/cifar100.csv"
if [ $# -gt 2 ]; then
  hypernym transfer "$3" "$2" "$4" --recipe cifar100
fi
