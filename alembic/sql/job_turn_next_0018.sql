-- Queues the tenant's next turn where it has jobs: now, or when the first of them is due. While as many of them run as may,
-- each of those asks again when its turn ends. A suspended tenant is asked after twice a minute.
create function fanfold.job_turn_next(p_tenant uuid, p_most integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
declare
  running integer;
  lapse timestamptz;
  due timestamptz;
begin
  select count(*) filter (where t.lease_until > now()), min(t.lease_until) filter (where t.lease_until > now()),
         min(t.due_at) filter (where t.lease_until is null or t.lease_until <= now())
    into running, lapse, due
    from (select t.lease_until, t.due_at from fanfold.jobs t
           where t.tenant_id = p_tenant and t.status in ('queued', 'running') order by t.due_at limit 1000) t;
  -- A lease that lapses is looked after too: its worker may be gone.
  due := case when running < p_most then least(due, lapse + interval '1 second') else lapse + interval '1 second' end;
  if exists (select from fanfold.tenants t where t.id = p_tenant and t.status = 'suspended') then
    due := greatest(due, now() + interval '30 seconds');
  end if;
  if due is not null then
    perform fanfold.job_turn_queue(p_tenant, greatest(due, now()));
  end if;
end
$f$
