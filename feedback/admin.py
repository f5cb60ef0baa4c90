from feedback import link_admin as link_admin
