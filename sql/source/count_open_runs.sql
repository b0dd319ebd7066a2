-- Counts the open runs of every workflow version and writes down what changed since the last call. changed:
-- those workflow versions, a JSON object each; the other three are the sums over all. Abandoned runs are not
-- open: they are failures.
--
-- overdue: open for longer than the workflow's deadline. That is the shortest an alert rule sets, else
-- three times the 99th percentile of the workflow's durations, and no less than a quarter of an hour.
--
-- Takes no lock of the engine's, nor the counting lock: the runs are read in one snapshot.
create or replace function meshmetrics.count_open_runs(
  out changed jsonb,
  out open_runs bigint,
  out overdue_runs bigint,
  out abandoned_runs bigint
)
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
as $$
  with present as materialized (
    select s.workflow_id, s.project_id, s.started_at, s.abandoned
    from meshmetrics.run_states() s
    where s.status in (select o.status from meshmetrics.status_outcomes o where o.outcome is null)
      and s.flaw is null
  ),
  deadlines as materialized (
    select d.id as workflow_id, d.project_id, d.slug,
      coalesce(
        (
          select min(r.deadline_seconds)
          from public.workflow_alert_rules r
          where r.project_id = d.project_id and r.enabled and r.metric = 'overdue_count'
            and (r.workflow_slug is null or r.workflow_slug = d.slug)
        ),
        greatest(900, ceil(w.seconds))
      )::integer as seconds
    from public.workflow_definitions d
    left join meshmetrics.workflow_deadlines w
      on w.project_id = d.project_id and w.slug_hash = md5(d.slug)
    where d.id in (select o.workflow_id from present o)
      or d.id in (select c.workflow_id from public.workflow_run_open_counts c)
  ),
  counts as (
    select
      d.workflow_id, d.project_id, d.slug, d.seconds,
      count(o.workflow_id) filter (where not o.abandoned)::integer as open_count,
      min(o.started_at) filter (where not o.abandoned) as oldest_open_at,
      count(o.workflow_id) filter (
        where not o.abandoned and o.started_at < now() - make_interval(secs => d.seconds)
      )::integer as overdue_count,
      count(o.workflow_id) filter (where o.abandoned)::integer as abandoned_count
    from deadlines d
    left join present o on o.workflow_id = d.workflow_id
    group by d.workflow_id, d.project_id, d.slug, d.seconds
  ),
  gone as (
    delete from public.workflow_run_open_counts c
    where not exists (select from public.workflow_definitions d where d.id = c.workflow_id)
  ),
  changed as (
    insert into public.workflow_run_open_counts as c
      (workflow_id, project_id, open_count, oldest_open_at, overdue_count, abandoned_count,
       deadline_seconds)
    select
      n.workflow_id, n.project_id, n.open_count, n.oldest_open_at, n.overdue_count,
      n.abandoned_count, n.seconds
    from counts n
    on conflict (workflow_id) do update
    set project_id = excluded.project_id,
        open_count = excluded.open_count,
        oldest_open_at = excluded.oldest_open_at,
        overdue_count = excluded.overdue_count,
        abandoned_count = excluded.abandoned_count,
        deadline_seconds = excluded.deadline_seconds,
        last_updated = clock_timestamp()
    where (c.project_id, c.open_count, c.oldest_open_at, c.overdue_count, c.abandoned_count, c.deadline_seconds)
      is distinct from (excluded.project_id, excluded.open_count, excluded.oldest_open_at,
        excluded.overdue_count, excluded.abandoned_count, excluded.deadline_seconds)
    returning c.*
  )
  select
    coalesce(
      jsonb_agg(jsonb_build_object(
        'workflow_id', c.workflow_id, 'project_id', c.project_id, 'slug', n.slug,
        'open', c.open_count, 'oldest_open_at', c.oldest_open_at, 'overdue', c.overdue_count,
        'abandoned', c.abandoned_count
      )) filter (where c.workflow_id is not null),
      '[]'
    ),
    coalesce(sum(n.open_count), 0)::bigint,
    coalesce(sum(n.overdue_count), 0)::bigint,
    coalesce(sum(n.abandoned_count), 0)::bigint
  from counts n left join changed c on c.workflow_id = n.workflow_id;
$$;
