"""The only room that opens pixels and writes artefacts: readers, decoding worker, atomic writing, run folder."""
