#!/usr/bin/env bash
# Pascal VOC 2007, several labels an image: bash runs/voc2007.sh SOURCE DATASET [MODEL OUT]
#
# Files      host.robots.ox.ac.uk/pascal/VOC/voc2007: VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar.
#            Both in SOURCE, not unpacked.
# Terms      images under the terms of Flickr
# Classes    20; 5,011 train images (trainval), 4,952 test, less those with difficult objects alone
# Metric     mAP on the test split
# Published  ViT-B/16 93.1, Mixer-B/16 88.6 (from official 21K weights: 78.7, 63.1)
# Tree       voc.csv: the groups in which the page of 2007 names the classes
set -euo pipefail
hypernym prepare "$1" "$2" --min-images 20 --val-per-class 10 --duplicates ignore
hypernym tree build "$2" --taxonomy "$(dirname "$0")/voc.csv"
if [ $# -gt 2 ]; then
  hypernym transfer "$3" "$2" "$4" --recipe multi-label
fi
