-- The courses of dubbed lessons. A course is available when every lesson of it that was not cancelled is published in its language.
create or replace view courses as
select
    lessons.course,
    lessons.target_language,
    count(*) as n_lessons,
    count(published_videos.lesson_id) as n_published,
    count(*) = count(published_videos.lesson_id) as is_available
from lessons
left join published_videos using (lesson_id)
where lessons.course is not null
    and lessons.lesson_id not in (select episode_id from failures where error_class = 'lesson_cancelled')
group by all;
