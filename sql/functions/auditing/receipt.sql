-- What is counted of a period, for `meshmetrics verify --receipt`: the counts of each workflow version, a hash over
-- its slice of the ledger, and what one needs to compute the same from MeshHook's tables alone
-- (docs/verify-yourself.md has that SQL, and must change with this function).
--
-- A line of the slice is `<run id> <outcome> <finished_at>`, in the order of the run ids, between newlines; the hash
-- of all is over the lines `<workflow id> <hash>`, in the order of the workflow ids.
create or replace function meshmetrics.receipt(from_at timestamptz, to_at timestamptz)
returns jsonb
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
as $$
  with
  slice as materialized (
    select
      l.workflow_id, l.run_id, l.outcome,
      l.run_id || ' ' || l.outcome || ' ' || to_char(l.finished_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as line
    from meshmetrics.counted_runs l
    where l.finished_at >= from_at and l.finished_at < to_at
  ),
  workflows as (
    select
      s.workflow_id,
      count(*) filter (where s.outcome = 'success') as success,
      count(*) filter (where s.outcome = 'failure') as failure,
      count(*) filter (where s.outcome = 'canceled') as canceled,
      encode(sha256(convert_to(string_agg(s.line, E'\n' order by s.run_id), 'UTF8')), 'hex') as hash
    from slice s
    group by s.workflow_id
  ),
  abandoned as ( -- their rows of workflow_runs do not say when they failed
    select s.run_id, r.finished_at
    from public.workflow_run_abandonments b
    join slice s on s.run_id = b.run_id
    join meshmetrics.run_states() r on r.run_id = b.run_id and r.abandoned
  )
  select jsonb_build_object(
    'format', 1,
    'from', from_at,
    'to', to_at,
    'taken_at', now(),
    'snapshot', pg_current_snapshot()::text,
    'server_version', current_setting('server_version'),
    'statuses', (select jsonb_object_agg(o.status, o.outcome) from meshmetrics.status_outcomes o),
    'abandoned', (select coalesce(jsonb_agg(to_jsonb(a) order by a.run_id), '[]') from abandoned a),
    'workflows', (select coalesce(jsonb_agg(to_jsonb(w) order by w.workflow_id), '[]') from workflows w),
    'hash', (
      select encode(
        sha256(
          convert_to(coalesce(string_agg(w.workflow_id || ' ' || w.hash, E'\n' order by w.workflow_id), ''), 'UTF8')
        ),
        'hex'
      )
      from workflows w
    )
  );
$$;
