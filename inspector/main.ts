/** The page that operators open at `/admin`. All it shows it asks of `/admin/v1`, which is beside it wherever the Worker is. */

/** Where the routes of the administration are, with a slash at the end. */
const administration = new URL('admin/v1/', location.href)

document.querySelector('#administration')!.textContent = administration.href
