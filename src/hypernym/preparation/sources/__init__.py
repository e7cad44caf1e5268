"""Sources: whatever the user has, cut into independent parts, as lazy images.

`opening.open_source` looks at an address and says how what lies there is laid out; a room a layout:

    folders       class folders, also under train/ and val/
    archives      class tars, in a folder or in one tar
    streams       a gzip'd tar of class tars, in one pass
    folder_tars   class folders in one tar
    webdataset    shards of samples, also our own datasets
    parquet       image bytes and labels in tables
    lists         a CSV or JSON-lines list of files

    voc, coco, inaturalist, cifar, imagenet, food251
                  datasets as their owners publish them

Beneath them: `annotated` brings annotations and images together, `gzipped` does so in one pass over a
stream, `annotations` reads COCO's JSON, `tars` walks the headers of a tar, `labels` reads class ids and
`splits` split names, `places` opens what lies on a disk or in a store, and `part` says what all of them
give.
"""
