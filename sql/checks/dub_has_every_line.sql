-- Every sentence of a lesson is translated, said and placed: as many lines as sentences.
-- asset: dub_audio
-- severity: error
select d.lesson_id as partition, format('{} sentences, {} translations, {} lines said, {} lines placed', s.n, t.n, l.n, p.n) as detail
from dub_audio d
cross join lateral (select count(*) as n from lesson_sentences where lesson_id = d.lesson_id) s
cross join lateral (select count(*) as n from lesson_translations where lesson_id = d.lesson_id and length(trim(text)) > 0) t
cross join lateral (select count(*) as n from dub_lines where lesson_id = d.lesson_id) l
cross join lateral (select count(*) as n from dub_times where lesson_id = d.lesson_id) p
where s.n != t.n or s.n != l.n or s.n != p.n
