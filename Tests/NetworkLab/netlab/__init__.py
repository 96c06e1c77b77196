"""The network lab: see ../table."""

from . import table


def all_cases():
    from . import (cases_ends, cases_entry, cases_files, cases_hosts, cases_library, cases_meeting, cases_member,
                   cases_moves, cases_one_way, cases_outage, cases_paths, cases_stops, cases_tool)
    del (cases_ends, cases_entry, cases_files, cases_hosts, cases_library, cases_meeting, cases_member, cases_moves,
         cases_one_way, cases_outage, cases_paths, cases_stops, cases_tool)
    return list(table.CASES.values())
