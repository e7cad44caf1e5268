#!/usr/bin/env bash
# Food-251 (iFood 2019): bash runs/food251.sh SOURCE DATASET [MODEL OUT]
#
# Files      github.com/karansikka1/iFood_2019: train.tar, val.tar; annot.tar unpacked into SOURCE/annot
# Terms      non-commercial research and education; images are not to be passed on
# Classes    251; 118,475 train images, 11,994 test (the published val)
# Metric     top-1 on the test split
# Published  ViT-B/16 76.0, Mixer-B/16 74.5 (from official 21K weights: 74.6, 69.9)
# Tree       none is published
set -euo pipefail
hypernym prepare "$1" "$2" --min-images 20 --val-per-class 10 --duplicates ignore
if [ $# -gt 2 ]; then
  hypernym transfer "$3" "$2" "$4"
fi
