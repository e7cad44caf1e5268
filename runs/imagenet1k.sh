#!/usr/bin/env bash
# ImageNet-1K (ILSVRC 2012): bash runs/imagenet1k.sh SOURCE DATASET [MODEL OUT]
#
# Files      image-net.org: ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar; its edition on Kaggle
#            (ImageNet Object Localization Challenge): LOC_val_solution.csv. All in SOURCE, not unpacked.
# Terms      non-commercial research and education, after registration; images stay their owners'
# Classes    1,000; 1,281,167 train images, 50,000 test (the published val)
# Metric     top-1 on the test split
# Published  ViT-B/16 83.9, Mixer-B/16 82.0 (from official 21K weights: 83.3, 79.7)
set -euo pipefail
hypernym prepare "$1" "$2" --min-images 50 --val-per-class 10 --duplicates ignore
hypernym tree build "$2" --inner branching
if [ $# -gt 2 ]; then
  hypernym transfer "$3" "$2" "$4"
fi
