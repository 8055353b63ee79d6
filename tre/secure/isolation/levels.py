"""What is known to get through where isolation is `reduced`: told in docs/security.md, and no more than this (a test).

At `none` nothing but limits stands between a notebook and whatever the gateway's user may do; there is no list.
"""

from __future__ import annotations

# By reason. On a machine with more in the way (Yama, SELinux, a container) less of it gets through.
_REDUCED = {
    "Landlock covers neither times, modes nor names of files": """touch_rows chmod_rows access_time secure_side
        outbox_opened""",
    "Landlock covers no Unix socket that has a path": "unix_path unix_path_by_root unix_datagram descriptors_sent",
    "before its sixth version it covers no abstract socket and no signal": """unix_abstract signalled group_signalled
        signalled_by_descriptor joined traced""",
    "the network's namespace is the machine's, though no socket to it can be made": """unix_abstract_name interfaces
        listed_tcp listed_udp listed_unix routes hardware_addresses socket_diagnosis forwarding""",
    "/proc and the control groups cannot be closed without ending DuckDB": """load paging command_line disks
        soft_interrupts interrupts key_counts memory_in_use processor_times uptime open_file_count terminal_count
        inode_count keys_listed locks_listed shm_listed list_cgroups groups_read seen
        arguments_of_the_box status_of_another limits_of_another mounts_of_another files_of_another
        memory_map_of_another directory_of_another root_of_another environments""",
    "the job's user is another's": "scheduled session host_users",
    "there are no mounts: neither sizes nor flags": "room_in_tmp room_in_shm room_at_home room_in_var set_uid_honoured",
    "capabilities that no program may take up are not dropped": "bounding",
}
REDUCED = {name: why for why, names in _REDUCED.items() for name in names.split()}
