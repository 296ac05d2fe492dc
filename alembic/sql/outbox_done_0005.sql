-- Deletes what was delivered, where the claim is still the one of `p_attempts`; returns how many.
create function fanfold.outbox_done(p_tenants uuid[], p_ids uuid[], p_attempts integer[]) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  gone integer;
begin
  delete from fanfold.outbox t
   using unnest(p_tenants, p_ids, p_attempts) d(tenant_id, id, attempts)
   where t.tenant_id = d.tenant_id and t.id = d.id and t.attempts = d.attempts;
  get diagnostics gone = row_count;
  return gone;
end
$function$
