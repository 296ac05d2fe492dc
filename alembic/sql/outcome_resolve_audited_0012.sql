-- Ends an open outcome as fanfold.outcome_resolve does, and writes it into the audit log. One statement, as that one is:
-- the ledger's locks are held for no round trip, and there is neither without the other. The nil UUID, of the command
-- line, is nobody's id.
create function fanfold.outcome_resolve_audited(
  p_tenant_id uuid, p_request_id uuid, p_resolution text, p_units bigint, p_reason text, p_resolved_by uuid,
  p_event uuid, p_actor_kind text, p_asked text)
returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
declare
  word constant text := fanfold.outcome_resolve(
    p_tenant_id, p_request_id, p_resolution, p_units, p_reason, p_resolved_by);
begin
  if word = 'ok' then
    insert into fanfold.audit_events (tenant_id, id, actor_kind, actor_id, action, object_kind, object_id, before, after,
                                      request_id, reason)
    select p_tenant_id, p_event, p_actor_kind, nullif(p_resolved_by, '00000000-0000-0000-0000-000000000000'),
           'outcome.resolved', 'outcome', p_request_id,
           jsonb_build_object('kind', o.kind, 'units', o.units, 'resolution', null),
           jsonb_build_object('resolution', o.resolution, 'resolved_units', o.resolved_units), p_asked, p_reason
      from fanfold.outcomes o where o.tenant_id = p_tenant_id and o.request_id = p_request_id;
  end if;
  return word;
end
$function$
