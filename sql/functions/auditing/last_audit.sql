-- The last audit of a kind that was finished; nulls if there was none.
create or replace function meshmetrics.last_audit(
  audit_kind text,
  out started_at timestamptz,
  out finished_at timestamptz,
  out runs_wrong bigint,
  out buckets_wrong bigint,
  out counters_wrong bigint,
  out runs_set_aside bigint
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    a.started_at, a.finished_at, a.runs_wrong, a.buckets_wrong, a.counters_wrong, a.runs_set_aside
  from meshmetrics.audits a
  where a.kind = audit_kind
  order by a.finished_at desc
  limit 1;
$$;
