-- A generated podcast has -19 LUFS in mono, and no peak above -1 dBTP.
-- asset: podcast_audio
-- severity: warn
select podcast_id as partition, format('{:.1f} LUFS, {:.1f} dBTP', loudness_lufs, true_peak_dbtp) as detail
from podcast_audio where abs(loudness_lufs + 19) > 0.5 or true_peak_dbtp > -1
