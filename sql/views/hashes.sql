-- What the bytes are: hashes, container facts, loudness. The fingerprints, which are long, are in `lake.hashes`.
create or replace view hashes as
select * exclude (fingerprint, sketch)
from lake.hashes;
