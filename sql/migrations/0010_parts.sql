-- The functions that tenants call stay in `public`; what these are made of gets a schema of its own.

create schema if not exists meshmetrics_parts;
comment on schema meshmetrics_parts is
  'meshmetrics: what the functions in public are made of. Not meant to be called.';

-- squawk-ignore ban-drop-function
drop function if exists
  public.workflow_metrics_bucket(timestamptz, timestamptz, text),
  public.workflow_metrics_edges(timestamptz, timestamptz, text, text),
  public.workflow_metrics_kept(text),
  public.workflow_metrics_members(uuid[], uuid[], text, text),
  public.workflow_metrics_open(uuid[], uuid[], timestamptz, timestamptz),
  public.workflow_metrics_period(timestamptz, timestamptz),
  public.workflow_metrics_pieces(timestamptz[], timestamptz[]),
  public.workflow_metrics_refuse(text, text, text),
  public.workflow_metrics_sums(timestamptz[], timestamptz[], uuid[], uuid[]),
  public.workflow_metrics_wilson(bigint, bigint);
