-- Computes the deadlines that are older than an hour, for at most max_workflows workflows: three times the 99th
-- percentile (percentile_cont) of the durations, in seconds, of the newest 1,000 successes of each version in
-- the last 30 days. Returns for how many. A workflow that had none has no deadline of its own.
create or replace function meshmetrics.refresh_deadlines(max_workflows integer)
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
set jit = off
set enable_seqscan = off -- as in count_runs
as $$
  with due as materialized (
    select d.project_id, d.slug, array_agg(d.id) as versions
    from public.workflow_definitions d
    left join meshmetrics.workflow_deadlines w
      on w.project_id = d.project_id and w.slug_hash = md5(d.slug)
    where (w.computed_at is null or w.computed_at < now() - interval '1 hour')
      and exists (select from public.workflow_run_metrics m where m.workflow_id = d.id)
    group by d.project_id, d.slug
    limit max_workflows
  ),
  refreshed as (
    insert into meshmetrics.workflow_deadlines as w (project_id, slug_hash, seconds)
    select d.project_id, md5(d.slug), coalesce(3 * p.seconds, 0)
    from due d
    cross join lateral (
      select percentile_cont(0.99) within group (
        order by extract(epoch from l.finished_at - r.started_at)
      ) as seconds
      from unnest(d.versions) v (id)
      cross join lateral (
        select c.run_id, c.finished_at
        from meshmetrics.counted_runs c
        where c.workflow_id = v.id and c.outcome = 'success'
          and c.finished_at between now() - interval '30 days' and now()
        order by c.finished_at desc
        limit 1000
      ) l
      join public.workflow_runs r on r.id = l.run_id
    ) p
    on conflict (project_id, slug_hash) do update
    set seconds = excluded.seconds, computed_at = clock_timestamp()
    returning 1
  )
  select count(*)::integer from refreshed;
$$;
