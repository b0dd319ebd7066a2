-- Runs set aside are tried again with growing pauses, and deleted runs are recognized when they come back.

alter table meshmetrics.set_aside_runs
  add column attempts integer not null default 1,
  add column retry_at timestamptz not null default now();
create index set_aside_runs_retry_at on meshmetrics.set_aside_runs (retry_at);
comment on table meshmetrics.set_aside_runs is
  'Runs that cannot be counted, and why. Tried again when the run changes, and at retry_at.';

create table meshmetrics.retired_runs (
  run_id uuid primary key,
  workflow_id uuid not null,
  finished_at timestamptz not null,
  outcome meshmetrics.outcome not null,
  retired_at timestamptz not null default clock_timestamp()
);
-- With a deleted workflow these rows go too.
create index retired_runs_workflow_id on meshmetrics.retired_runs (workflow_id);
-- Written in this order: a few pages are enough to find the rows whose time is over.
create index retired_runs_retired_at on meshmetrics.retired_runs using brin (retired_at);
comment on table meshmetrics.retired_runs is
  'The ledger entries of deleted runs, kept for 400 days: a run that is restored under its id is not counted twice.';
alter table meshmetrics.retired_runs enable row level security;

