#!/usr/bin/env bash
# MS-COCO 2014, several labels an image: bash runs/coco2014.sh SOURCE DATASET [MODEL OUT]
#
# Files      cocodataset.org: train2014.zip and val2014.zip in SOURCE, not unpacked; SOURCE/annotations
#            from annotations_trainval2014.zip. (2017 has the same images, with fewer in val.)
# Terms      annotations CC BY 4.0; images under the terms of Flickr
# Classes    80; 82,783 train images, 40,504 test (the published val), less those without any object
# Metric     mAP on the test split
# Published  ViT-B/16 82.6, Mixer-B/16 80.9 (from official 21K weights: 81.1, 74.1). The table says
#            MS-COCO; that it is 2014 is taken here.
set -euo pipefail
hypernym prepare "$1" "$2" --min-images 50 --val-per-class 10 --duplicates ignore
hypernym tree build "$2" --taxonomy "$1/annotations/instances_val2014.json"
if [ $# -gt 2 ]; then
  hypernym transfer "$3" "$2" "$4" --recipe multi-label
fi
