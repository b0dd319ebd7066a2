-- The one thing the engine's table carries for us: the order in which sweeps walk it. Built
-- without holding up writes, and so outside any transaction.
create index concurrently if not exists workflow_runs_updated_at_id
  on public.workflow_runs (updated_at, id);
