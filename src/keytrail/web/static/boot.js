// Runs before anything is painted: tells the style sheet, and by a cookie the server, that scripts run.
document.documentElement.classList.add("js");
{
  const home = document.currentScript.dataset.home || "/";
  document.cookie = `keytrail_js=1; path=${home}; max-age=31536000; samesite=lax`;
}
