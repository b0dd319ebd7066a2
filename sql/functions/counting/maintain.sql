-- The chores: moves on which buckets are kept (minutes 48 hours, quarters 400 days, days for
-- good) and prunes the rest; retires ledger rows whose run is gone, max_scanned rows of the
-- ledger a call, from where the last call stopped.
--
-- A retired run stays in its buckets; retired_buckets has its share, so that audits stay exact. Its id is
-- kept for 400 days, so that a run that is restored is not counted again.
create or replace function meshmetrics.maintain(
  as_of timestamptz,
  max_scanned integer,
  out pruned_buckets bigint,
  out retired_runs integer,
  out scanned integer,
  out wrapped boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set enable_seqscan = off -- counting waits meanwhile: what is old is looked up, all else not read
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
  moment constant timestamptz := coalesce(as_of, now());
  start_id uuid;
  end_id uuid;
  kept meshmetrics.kept_from;
begin
  perform meshmetrics.counting_lock();

  update meshmetrics.kept_from k
  set since = greatest(
    k.since,
    case k.grain
      when 'minute' then date_trunc('minute', moment - interval '48 hours')
      when 'quarter' then date_trunc('day', moment - interval '400 days')
    end
  )
  where k.grain <> 'day';

  select c.run_id into start_id from meshmetrics.checkpoint c where c.name = 'retire';

  select count(*)::integer, (array_agg(s.run_id order by s.run_id desc))[1]
  into scanned, end_id
  from (
    select l.run_id from meshmetrics.counted_runs l
    where l.run_id > start_id
    order by l.run_id
    limit max_scanned
  ) s;
  wrapped := scanned < max_scanned;

  with candidates as materialized (
    select l.run_id, l.workflow_id from meshmetrics.counted_runs l
    where l.run_id > start_id and l.run_id <= end_id
      and not exists (select from public.workflow_runs r where r.id = l.run_id)
  ),
  countable as materialized ( -- as in count_runs: never wait for a workflow that is being deleted
    select m.workflow_id
    from public.workflow_run_metrics m
    where m.workflow_id in (select c.workflow_id from candidates c)
    for key share skip locked
  ),
  gone as (
    delete from meshmetrics.counted_runs l
    using candidates c
    where l.run_id = c.run_id
      and (
        c.workflow_id in (select p.workflow_id from countable p)
        or not exists (
          select from public.workflow_run_metrics m where m.workflow_id = c.workflow_id
        )
      )
    returning l.*
  ),
  retired as (
    insert into meshmetrics.retired_buckets as b
      (workflow_id, grain, bucket_start, success_count, failure_count, canceled_count)
    select
      g.workflow_id, t.grain, t.bucket_start,
      count(*) filter (where g.outcome = 'success'),
      count(*) filter (where g.outcome = 'failure'),
      count(*) filter (where g.outcome = 'canceled')
    from gone g
    cross join lateral (
      values
        ('minute', date_trunc('minute', g.finished_at)),
        ('quarter', date_bin('15 minutes', g.finished_at, '2000-01-01 00:00:00+00')),
        ('day', date_trunc('day', g.finished_at))
    ) t (grain, bucket_start)
    join meshmetrics.kept_from k on k.grain = t.grain and t.bucket_start >= k.since
    where g.workflow_id in (select p.workflow_id from countable p)
    group by g.workflow_id, t.grain, t.bucket_start
    on conflict (workflow_id, grain, bucket_start) do update
    set success_count = b.success_count + excluded.success_count,
        failure_count = b.failure_count + excluded.failure_count,
        canceled_count = b.canceled_count + excluded.canceled_count
  ),
  ids as (
    insert into meshmetrics.retired_runs (run_id, workflow_id, finished_at, outcome)
    select g.run_id, g.workflow_id, g.finished_at, g.outcome
    from gone g
    where g.workflow_id in (select p.workflow_id from countable p)
    on conflict (run_id) do nothing
  )
  select count(*)::integer into retired_runs from gone;

  update meshmetrics.checkpoint c
  set run_id = case when wrapped then '00000000-0000-0000-0000-000000000000' else end_id end
  where c.name = 'retire';

  pruned_buckets := 0;
  for kept in select k.* from meshmetrics.kept_from k where k.grain <> 'day' loop
    with countable as materialized (
      select m.workflow_id
      from public.workflow_run_metrics m
      where exists (
        select from public.workflow_run_buckets b
        where b.workflow_id = m.workflow_id and b.grain = kept.grain and b.bucket_start < kept.since
      )
      for key share skip locked
    ),
    pruned as (
      delete from public.workflow_run_buckets b
      using countable p
      where b.workflow_id = p.workflow_id and b.grain = kept.grain and b.bucket_start < kept.since
      returning 1
    ),
    pruned_retired as (
      delete from meshmetrics.retired_buckets b
      using countable p
      where b.workflow_id = p.workflow_id and b.grain = kept.grain and b.bucket_start < kept.since
    )
    select pruned_buckets + count(*) into pruned_buckets from pruned;

    -- No lock is needed here: but for counting, which waits outside, only deletions write the
    -- buckets of projects, and those only insert.
    delete from public.workflow_run_project_buckets b
    using (select distinct m.project_id from public.workflow_run_metrics m) p
    where b.project_id = p.project_id and b.grain = kept.grain and b.bucket_start < kept.since;
  end loop;
  perform meshmetrics.fold_deleted_workflows(max_scanned);

  delete from meshmetrics.retired_runs t where t.retired_at < moment - interval '400 days';

  delete from meshmetrics.set_aside_runs a
  where not exists (select from public.workflow_runs r where r.id = a.run_id);
  delete from public.workflow_run_abandonments a
  where not exists (select from public.workflow_runs r where r.id = a.run_id);
end;
$$;
