"""Bundles that arrive: taken in, proved on this device, switched to, and left again when they fail.

`archive` packs and unpacks, `fetch` brings an archive here, `version` tells which bundle is the older one, `trial` runs
a bundle beside the running one (over `recent` sound, too), `install` goes through all steps up to the switch, `record`
remembers them across restarts, `running` chooses what a start runs and goes back, and `updater` watches the inbox and
takes requests.
"""
