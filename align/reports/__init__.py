"""Clinical reports written from metadata, and the check that they say what is known and nothing else.

`facts` reads metadata by `vocabulary`; a writer of `writers` makes a text of it; `check` reads the text back into
claims (`lexicon`, `sentence`, `claims`) and compares; `store` keeps it; `work` does all of this many times over.
"""
