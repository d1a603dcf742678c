"""The functions in which bugs are planted: those that keep the promises of the laws, by package.

What only shows, checks a form or bounds a size is not among them: no schedule is needed to test it.
"""

from __future__ import annotations

from collections.abc import Mapping

KERNEL: Mapping[str, str] = {
    "nilometer.flows.inbox": "settle _keep keep isolate",
    "nilometer.flows.usage": """
        handle _wait_for_meters _count _count_group _count_waiting UsageBatch.retry UsageBatch.unstored _count_chunk
        counting_writes _seen Known._read_meters Known._read_tenants touch _drain _send _stored _commit mark run _unmark
        rebucket _try_move _handed_over take_back bury count_reserved _settle _void_writes _late_writes _mark _page
        _count_page _overdue _abandon _keep _not_waiting""",
    "nilometer.flows.billing": """
        _refold refold requested _pages _fold_page _decided Committer.run Committer._round Committer._put_into_pack
        Committer._read_with_facts Committer._writes Committer._commit Committer._say_uses Committer._store
        Committer._lose Committer._again Committer._settle Committer._put_facts _new_fact Pack.writes _settle _done
        merge_answer commit_group _planned""",
    "nilometer.flows.limits": """
        BlockLease.close BlockLease._take BlockLease._hold BlockLease._reserve BlockLease._settle take _taken _react
        reserve sweep synchronize _reserve _again _refused _end _against_others tell _tell_meter
        _lower_allowance _put_once""",
    "nilometer.flows.notices": "_apply _audience _tell _fact",
    "nilometer.flows.operations": "_decide _commit _fact",
    "nilometer.flows.people": "use_token perform read",
    "nilometer.flows.lake": "append relay _send_rows _publish _open _keep _decide",
    "nilometer.domain.usage": """
        counter_writes _void_write _value _level fact next_delta sent _put is_overdue mark moved _marked _rows void_fact
        void_marker tombstone _item waiting waited Missing.is_over handed_over touched looked""",
    "nilometer.domain.limits": "reserved ended allowance _kept alert Limit.crossed new_reservation",
    "nilometer.domain.billing": """
        adoptions waits _waiting_item _leave _put link_writes Merged.version register_writes with_catalog""",
    "nilometer.domain.people": """
        _counted RemoveMember.decide AcceptInvitation.decide ResendInvitation.follows _slug CreateWorkspace.reads
        UpdateWorkspace.reads UpdateWorkspace.decide workspace_writes""",
    "nilometer.domain.notices": "request",
    "nilometer.lake.write": """
        until_known _commit _add _came_since Batches._attempt newest merge Lake._append_days Lake._attempt""",
    "nilometer.aws": """
        Bus.publish Bus._put Queue.send Store.commit Store.put Store._write_all Store._batch_get Store._pages""",
}
